"""The suite of problems with known mutual information, and what runs estimators on it."""
