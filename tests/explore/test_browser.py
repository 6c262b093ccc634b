"""The page in headless Chromium, with clicks and keys: what is seen, asked for and logged."""

import json
import os
import shutil
import subprocess
import sys

import pandas as pd
import pytest

pytest.importorskip("dash", reason="the extra `explore` is not installed")
pytest.importorskip("selenium", reason="selenium is not installed")

from selenium import webdriver  # noqa: E402
from selenium.webdriver.chrome.service import Service  # noqa: E402
from selenium.webdriver.common.by import By  # noqa: E402
from selenium.webdriver.common.keys import Keys  # noqa: E402
from selenium.webdriver.support.ui import WebDriverWait  # noqa: E402

from recbole_diffusion.recommend.recommender import load  # noqa: E402

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
DRIVER = shutil.which("chromedriver")
SWITCHES = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run "
    "--disable-background-networking --disable-component-update --disable-sync"
).split()

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not (CHROMIUM and DRIVER), reason="no chromium and chromedriver on the path"
    ),
]


class Visit:
    """A page that is open in a browser.

    Args:
        driver (webdriver.Chrome): the browser.
        address (str): of the server.
    """

    def __init__(self, driver, address):
        self.driver, self.address = driver, address
        driver.get(address)
        self.until(lambda: self.all("#found .match"))

    def until(self, happened):
        """Waits for what has to happen; the bound is only for what never does."""
        return WebDriverWait(self.driver, 60).until(lambda _: happened())

    def all(self, selector):
        return self.driver.find_elements(By.CSS_SELECTOR, selector)

    def script(self, code, *arguments):
        return self.driver.execute_script(code, *arguments)

    def texts(self, selector):
        """Texts of elements, read at once: callbacks replace elements meanwhile."""
        code = "return [...document.querySelectorAll(arguments[0])].map(e => e.textContent)"
        return self.script(code, selector)

    def click(self, selector, place=0):
        element = self.until(lambda: self.all(selector)[place : place + 1] or None)[0]
        self.script("arguments[0].scrollIntoView({block: 'center'})", element)
        element.click()

    def search(self, words, title):
        box = self.all("#search")[0]
        box.send_keys(Keys.CONTROL, "a")
        box.send_keys(words)
        self.until(lambda: self.texts("#found .match span:first-child") == [title])

    def add(self, words, title):
        before = self.texts("#rows li .grow")
        self.search(words, title)
        self.click("#found .match")
        self.until(lambda: self.texts("#rows li .grow") == [*before, title])

    def width(self, pixels):
        size = {"width": pixels, "height": 900, "deviceScaleFactor": 1, "mobile": pixels < 800}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)

    def list(self, panel=0):
        """The ids of a panel's list: a title is followed by its id."""
        code = (
            "return [...document.querySelectorAll('.panel')[arguments[0]]"
            ".querySelectorAll('.list .title .id')].map(e => e.textContent)"
        )
        return self.script(code, panel)

    def scores(self):
        """The scores of the list, with all digits."""
        code = "return [...document.querySelectorAll('.list .score')].map(e => e.title)"
        return self.script(code)

    def requests(self):
        """Where the page's requests went."""
        found = set()
        for entry in self.driver.get_log("performance"):
            message = json.loads(entry["message"])["message"]
            # The browser's own first tab is no page of ours.
            document = message["params"].get("documentURL", "")
            if message["method"] == "Network.requestWillBeSent" and document.startswith("http"):
                found.add(message["params"]["request"]["url"])
        return found

    def errors(self):
        return [e for e in self.driver.get_log("browser") if e["level"] in ("SEVERE", "WARNING")]


@pytest.fixture(scope="module")
def serving(checkpoint):
    """Gives a function from options of the command to the address it serves on."""
    processes = []

    def serve(*options):
        command = [sys.executable, "-m", "recbole_diffusion", "explore", "--port=0", *options]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=os.environ)
        processes.append(process)
        return process.stdout.readline().split(": ")[1].split()[0]

    yield serve
    for process in processes:
        process.terminate()
        assert process.wait(timeout=60) == 0


@pytest.fixture
def visit(tmp_path):
    """Gives a function from an address to a visit."""
    drivers = []

    def open_page(address):
        options = webdriver.ChromeOptions()
        options.binary_location = CHROMIUM
        for switch in [*SWITCHES, f"--user-data-dir={tmp_path}/browser"]:
            options.add_argument(switch)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
        drivers.append(webdriver.Chrome(options=options, service=Service(DRIVER)))
        return Visit(drivers[-1], address)

    yield open_page
    for driver in drivers:
        driver.quit()


def recommended(checkpoint, model, items, k=10):
    recommender = load(checkpoint(model))
    table = pd.DataFrame({"user_id": "me", "item_id": items})
    return list(recommender.recommend(table, k=k)["item_id"])


def test_a_history_a_list_and_controls_that_move_it(checkpoint, serving, visit, nasty):
    first, second = checkpoint("DreamRec"), checkpoint("SASRec")
    page = visit(serving(f"--checkpoint={first}", f"--compare={second}"))
    page.width(1280)
    page.add("number 12", "Thing number 12")
    page.add("hacked", nasty)
    own = recommended(checkpoint, "DreamRec", ["i12", "i3"])
    page.until(lambda: page.list() == own)
    page.until(lambda: page.list(1) == recommended(checkpoint, "SASRec", ["i12", "i3"]))
    assert page.texts(".panels .mark") == []
    both = len(set(page.list()) & set(page.list(1)))
    page.until(lambda: page.texts("#overlap") == [f"{both} of 10 items stand in both lists."])

    # the path, over the map of the first model alone
    drawn = (
        "return [...document.querySelectorAll('.js-plotly-plot')].map(p => p.data.map(t => t.name))"
    )
    names = ["item", "in the list", "in the history", "reverse walk", "generated vector"]
    page.until(lambda: page.script(drawn) == [names])

    # three controls, of the first model alone; one step of DDIM instead of the closed form
    sliders = page.all("[role=slider]")
    assert len(sliders) == 3
    sliders[1].send_keys(Keys.HOME)
    page.until(lambda: page.texts(".labels output")[1] == "1 by DDIM (run: 4 in closed form)")
    page.until(lambda: len(page.texts(".panels .mark")) == 10)
    page.until(lambda: page.list() != own)
    sliders[0].send_keys(Keys.END)
    page.until(lambda: page.texts(".labels output")[0] == "10 (run: 0)")
    page.click(".controls .button")
    page.until(lambda: page.list() == own and not page.texts(".panels .mark"))

    # the history: order, removal, and an empty one
    page.click("#rows .sign[title^='move']")
    page.until(lambda: page.texts("#rows li .grow") == [nasty, "Thing number 12"])
    page.until(lambda: page.list(1) == recommended(checkpoint, "SASRec", ["i3", "i12"]))
    page.click("#rows .sign[title^='remove']")
    page.until(lambda: page.texts("#rows li .grow") == ["Thing number 12"])
    page.until(lambda: page.list() == recommended(checkpoint, "DreamRec", ["i12"]))
    page.click(".list .sign")  # what is listed can be added
    page.until(lambda: len(page.texts("#rows li .grow")) == 2)
    page.click("#clear")
    page.until(lambda: page.texts(".answer .words") == ["Add an item to the history."] * 2)
    page.click("#sample")
    page.until(lambda: len(page.texts("#rows li .grow")) == 5 and len(page.list()) == 10)

    assert page.script("return window.hacked") is None
    assert page.errors() == []
    asked = page.requests()
    assert len(asked) > 10 and all(url.startswith((page.address, "data:")) for url in asked)


def test_behaviors_are_chosen_and_the_page_fits_a_telephone(checkpoint, serving, visit):
    page = visit(serving(f"--checkpoint={checkpoint('ICDDT')}"))
    for pixels in (400, 1280):
        page.width(pixels)
        page.click("#sample")
        page.until(lambda: len(page.list()) == 10 and page.all(".js-plotly-plot"))
        wide = page.script("return document.documentElement.scrollWidth")
        assert wide <= pixels
    page.click("#clear")
    page.until(lambda: page.texts(".answer .words"))
    behaviors = page.texts("#behavior label")
    assert sorted(behaviors) == ["buy", "view"]
    view = behaviors.index("view")
    page.click("#behavior input", view)
    page.add("number 12", "Thing number 12")
    page.add("number 15", "Thing number 15")  # attention to one item is the same for all queries
    page.until(lambda: page.texts("#rows .behavior") == ["view", "view"] and page.list())
    of_view = page.scores()
    page.click("#rows .behavior")
    page.until(lambda: page.texts("#rows .behavior") == ["buy", "view"])
    page.until(lambda: page.scores() != of_view)
    of_buy = page.scores()
    page.click("#target input", view)
    page.until(lambda: page.scores() != of_buy)
    assert page.errors() == []


@pytest.mark.parametrize("model", ["SASRec", "DiffRec"])
def test_a_model_without_a_walk_among_items_has_no_map(checkpoint, serving, visit, model):
    page = visit(serving(f"--checkpoint={checkpoint(model)}"))
    page.add("number 12", "Thing number 12")
    page.until(lambda: page.list() == recommended(checkpoint, model, ["i12"]))
    assert page.all(".js-plotly-plot") == []
    assert len(page.all("[role=slider]")) == (0 if model == "SASRec" else 3)
    assert ("no reverse walk" in page.texts(".panel .quiet")[0]) == (model == "SASRec")
    assert page.errors() == []
