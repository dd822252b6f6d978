"""What tests of training share."""

import pytest
from support.runs import TEXT

from charlm.config import PrepConfig
from charlm.corpus import prepare


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    (folder / "text").write_text(TEXT)
    return prepare([folder / "text"], folder / "corpus", PrepConfig(val=0.2, test=0))
