"""Files are written whole or not at all."""

import pytest

from aaelib.files import replacing


def test_a_block_that_ends_well_replaces_the_file(tmp_path):
    file = tmp_path / "new" / "table.csv"
    with replacing(file) as temporary:
        assert temporary.suffix == ".csv"
        temporary.write_text("whole")
        assert not file.exists()
    assert file.read_text() == "whole"
    assert list(file.parent.iterdir()) == [file]


def test_a_block_that_raises_leaves_what_was_there(tmp_path):
    file = tmp_path / "table.csv"
    file.write_text("before")

    def cut_off():
        with replacing(file) as temporary:
            temporary.write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cut_off()
    assert file.read_text() == "before"
    assert list(tmp_path.iterdir()) == [file]
