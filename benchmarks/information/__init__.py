"""The suite of problems with known mutual information, and the code that runs estimators on it."""
