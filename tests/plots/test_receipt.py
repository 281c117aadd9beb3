"""The receipt tells rows that came out again from those that did not."""

from noise_scaling import measurements
from noise_scaling.plots import receipt

from .test_small_tables import table


def test_each_row_has_its_result(tmp_path, monkeypatch):
    committed = table((50, 200), (1.0, 0.4, 0.15), ("pca",)).assign(mi_stderr=0.1)
    again = committed.iloc[:5].copy()
    again["mi_bits"] += [0.0, 5e-4, 0.2, -0.4, 1e-12]
    kinds = [receipt.SAME, receipt.NEAR, receipt.WITHIN, receipt.BEYOND, receipt.SAME, "not measured"]
    assert receipt.compare(again, committed)["result"].tolist() == kinds
    path = measurements.write(again, tmp_path / "run.csv")
    monkeypatch.setattr(receipt, "DEMO", measurements.write(committed, tmp_path / "demo.csv"))
    said = receipt.receipt(str(path)).data
    assert "Of 6 committed rows of this command: 2 the same to 1e-9 bits, 1 within 0.001 bits, 1 within 2" in said
    assert "write" in receipt.receipt("data/measurements").data
