"""Pages and ``show`` say the same of a dataset, whatever its output."""

from __future__ import annotations

import html
import json
import re
from pathlib import Path

import pytest

import esgvzarr
from esgvzarr import cli, pages
from esgvzarr.output import named
from esgvzarr.testing import DATASET_ID, ThreddsServer
from esgvzarr.testing.datasets import specs_of, write_files

from . import skip_unless_installed

OUTPUTS = ["json.zst", "parquet", "icechunk", "zarr3"]
URL = "https://node.example/zarr"
FACTS = re.compile(r"<h2 id=\"what\">.*?</section>|<h2 id=\"files\">.*?</section>", re.DOTALL)
ROW = re.compile(r"<tr><th scope=\"row\">.*?</tr>", re.DOTALL)


def make(root: Path, output: str) -> Path:
    files = write_files(root / "data", specs_of((2, 2), grid=(2, 3), calendar="360_day"))
    with ThreddsServer(root / "data") as server:
        urls = [server.url_of(file) for file in files]
        made = esgvzarr.generate(
            urls, root / "out", dataset_id=DATASET_ID, output=output, ledger=str(root / "l.sqlite")
        )
    return Path(made.reference.path)


def said_by(page: Path) -> tuple[list[str], set[str]]:
    """What the page says of the dataset and its files, and of its variables."""
    text = re.sub(r"127\.0\.0\.1:\d+", "node", page.read_text())  # another server each time
    return FACTS.findall(text), set(ROW.findall(text))


def show(place: Path, capsys: pytest.CaptureFixture[str]) -> set[str]:
    with pytest.raises(SystemExit) as stop:
        cli.main(["show", str(place)])
    assert stop.value.code == 0
    said = capsys.readouterr().out.partition("\n\n")[0].splitlines()
    return {line for line in said if not line.startswith(("proved:", "proof:"))}


@pytest.mark.parametrize("output", OUTPUTS)
def test_each_output_has_a_page_that_says_the_same(
    output: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Where it draws no map, it says why, and leads to the page of the JSON once there is one."""
    skip_unless_installed(output)
    place = make(tmp_path, output)
    assert place.name == f"{DATASET_ID}{named(output).suffix}"
    index, count = pages.write_pages(place.parent, URL)
    page = pages.page_path(place)
    assert f'"page": "{page.name}"' in index.read_text()
    text = html.unescape(page.read_text())
    has_map = output == "zarr3"
    assert ("There is no map here: the script of these pages reads" in text) is not has_map
    assert "draws the map" not in text

    reference = make(tmp_path, "json")
    index, count = pages.write_pages(place.parent, URL)
    assert count == 1
    listed = json.loads(index.read_text().partition('id="datasets">')[2].partition("</script>")[0])
    assert [entry["page"] for entry in listed] == [f"{DATASET_ID}.html"]
    link = f'<a href="{DATASET_ID}.html">The page of the JSON beside it</a> draws the map'
    assert (link in html.unescape(page.read_text())) is not has_map
    of_json = said_by(pages.page_path(reference))
    assert said_by(page) == of_json
    assert len(of_json[1]) > 6
    assert show(place, capsys) == show(reference, capsys)


@pytest.mark.parametrize("output", OUTPUTS)
def test_its_page_and_its_link_lead_to_each_other(output: str) -> None:
    """The link of an output names the page that lies beside it."""
    place = f"{DATASET_ID}{named(output).suffix}"
    href = pages.page_href(f"{URL}/{place}")
    assert href == f"{URL}/{pages.page_path(place).name}"
    assert href.endswith(".html")
