"""The desk: every link leads somewhere, nothing is fetched from a network, and a browser has no complaint."""

import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import pytest

from oneshot.figures.landscape import frame
from oneshot.files import MissingInput
from oneshot.workflow import desk, expected, interactive, measured

ROOT = Path(__file__).parent.parent


class Links(HTMLParser):
    """Where a page points, what it loads, and what can be pointed at."""

    def __init__(self, page):
        super().__init__()
        self.links, self.loads, self.ids = [], [], set()
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        known = dict(attributes)
        self.ids.add(known.get("id"))
        if tag == "a" and known.get("href"):
            self.links.append(known["href"])
        self.loads += [known[name] for name in ("src", "href") if name in known and tag != "a"]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A desk of the code experiment alone, from the reference run."""
    folder, results = tmp_path_factory.mktemp("desk"), tmp_path_factory.mktemp("results")
    for path, content in expected.read(expected.archive_of("code", ROOT))[0].items():
        target = results / "code" / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
    assert desk.build(results, ROOT, folder) == ["code"]
    return folder


@pytest.mark.slow  # draws every figure
def test_every_link_leads_somewhere_and_nothing_is_fetched(made):
    page = Links((made / "index.html").read_text())
    assert "code-verdict" in page.ids
    for link in (*page.links, *page.loads):
        if link.startswith("#"):
            assert link[1:] in page.ids or link[1:].startswith(("ladder-", "smollm2-")), link  # claims on other runs
        elif not link.startswith("data:"):
            assert (made / link).is_file(), link
    for path in made.rglob("*.html"):
        assert not [load for load in Links(path.read_text()).loads if load.startswith(("http", "//"))], path


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("chromium"), reason="needs chromium")
@pytest.mark.parametrize("name", ["index.html", "code/explore.html", "notebooks/02_gradient.html"])
def test_a_browser_has_no_complaint(made, tmp_path, name):
    command = ["chromium", "--headless=new", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path}"]
    command += ["--enable-logging=stderr", "--virtual-time-budget=5000", "--window-size=390,844", "--dump-dom"]
    done = subprocess.run([*command, f"file://{made / name}"], capture_output=True, text=True, timeout=120)
    assert not re.findall(r":CONSOLE.*", done.stderr)
    assert len(done.stdout) > 10_000
    if name.endswith("explore.html"):
        assert 'class="marks"' in done.stdout


def test_the_landscape_needs_no_network_and_holds_every_point(tables):
    data = frame(tables)
    page = interactive.page(data)
    assert not [load for load in Links(page).loads if load.startswith("http")]
    measured_points = len(data[data.split == "validation"])
    assert page.count('"decoding": "greedy"') + page.count('"decoding":"greedy"') == measured_points


def test_without_results_it_says_so(tmp_path):
    with pytest.raises(MissingInput, match="nothing has been measured yet"):
        desk.build(tmp_path, ROOT, tmp_path / "desk")
    assert not (tmp_path / "desk/index.html").exists()


def test_a_figure_without_its_tables_is_no_card(tmp_path):
    assert desk._experiment("code", {}, tmp_path, ROOT, tmp_path)["cards"] == []
    assert measured.tables_in(tmp_path, ROOT, ("points",), experiments=("code",)).paths == {}
