"""CSV files as spreadsheets write them."""

import numpy as np
import pytest

from noise_scaling.errors import InputError
from noise_scaling.measurements.csv_files import read_csv


@pytest.mark.parametrize(
    "content",
    [
        b"N,u,bits\n100,30.5,0.25\n",
        b"\xef\xbb\xbfN,u,bits\r\n100,30.5,0.25\r\n",
        b"N;u;bits\n100;30,5;0,25\n",
        b"N;u;bits\n100;30.5;0.25\n",
        b'"N"\t"u"\t"bits"\n"100"\t"30,5"\t"2,5e-1"\n',
        b"N,u,bits\n100,30.5,0.25\n,,\n\n",
        b"N;u;bits\n;;\n100;30,5;0,25\n",
    ],
)
def test_one_table_in_many_forms(content, tmp_path):
    (tmp_path / "t.csv").write_bytes(content)
    table = read_csv(tmp_path / "t.csv")
    assert list(table) == ["N", "u", "bits"]
    assert np.array_equal(table.astype(float), [[100, 30.5, 0.25]])


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"N;u;bits\n100;1.000;0,25\n", "numbers with commas and with points, such as 0,25 and 1.000"),
        (b"N;u;bits\n100;1.000.000;0,25\n", "nothing between thousands"),
        (b"N,u\n1,2", "its last line has no end"),
        ("N,u\n1,2\n".encode("utf-16"), "no UTF-8 text"),
        (b"", "No columns"),
        (b"a,b\n1,2,3\n4,5,6,7\n", "cannot be read as CSV"),
    ],
)
def test_no_table_is_one_sentence(content, said, tmp_path):
    (tmp_path / "t.csv").write_bytes(content)
    with pytest.raises(InputError, match=said):
        read_csv(tmp_path / "t.csv")
