"""The documentation site says what the package does, and is read without a network."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from recbole_diffusion.cli.main import COMMANDS
from recbole_diffusion.config.listing import settings_of
from recbole_diffusion.config.names import MODELS

ROOT = Path(__file__).parents[2]
PAGE_OF = {"LDiffRec": "diffrec", "TDiffRec": "diffrec", "LTDiffRec": "diffrec"}


def build(folder):
    """Builds the site of a checkout and gives the finished process."""
    pytest.importorskip("mkdocs", reason="the extra 'docs' is not installed")
    command = [sys.executable, "-m", "mkdocs", "build", "--quiet", "--strict", "--site-dir", folder]
    environment = os.environ | {"NO_MKDOCS_2_WARNING": "1", "PYTHONPATH": str(ROOT)}
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=environment)


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("site")
    done = build(folder)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.mark.slow
def test_pages_load_nothing_from_another_host(site):
    pages = list(site.rglob("*.html"))
    assert len(pages) > 30
    for page in pages:
        text = page.read_text(encoding="utf-8")
        loaded = re.findall(r'<(?:script|img|iframe)[^>]*?src="(https?:)?//', text)
        loaded += re.findall(r'<link[^>]*?rel="(?:stylesheet|preconnect)"[^>]*?"(https?://)', text)
        assert not loaded, page


@pytest.mark.slow
def test_every_model_has_a_page_with_all_its_settings(site):
    for model in MODELS:
        name = PAGE_OF.get(model, model.lower())
        text = (site / "models" / f"{name}.html").read_text(encoding="utf-8")
        for setting in settings_of(model):
            if setting.source == f"properties/model/{model}.yaml" and model not in PAGE_OF:
                assert f"<code>{setting.key}</code>" in text, (model, setting.key)
        assert "When to use" in text and "What came out" in text


@pytest.mark.slow
def test_every_command_is_explained(site):
    text = (site / "reference" / "commands.html").read_text(encoding="utf-8")
    for command in COMMANDS:
        assert f'<h2 id="{command}">' in text


@pytest.mark.slow
def test_notebooks_are_pages_with_their_code_results_and_pictures(site):
    notebooks = sorted((ROOT / "docs" / "notebooks").glob("*.ipynb"))
    assert len(notebooks) == 4
    pictures = 0
    for notebook in notebooks:
        text = (site / "notebooks" / f"{notebook.stem}.html").read_text(encoding="utf-8")
        assert "import" in text and (site / "notebooks" / notebook.name).exists()
        for picture in re.findall(r'<img[^>]* src="([^"]+)"', text):
            assert (site / "notebooks" / picture).stat().st_size > 1000
            pictures += 1
    assert pictures
    first = (site / "first_hour.html").read_text(encoding="utf-8")
    assert 'href="notebooks/journal.html"' in first and ".ipynb" not in first


@pytest.mark.slow
def test_equations_are_mathml_and_nothing_is_left_unfilled(site):
    text = (site / "models" / "icddt.html").read_text(encoding="utf-8")
    assert text.count("<math") > 5 and "$" not in re.sub(
        r"<(code|script).*?</\1>", "", text, flags=re.S
    )
    for page in site.rglob("*.html"):
        assert not re.search(r"<!-- (settings|help|data sets|models)", page.read_text("utf-8")), (
            page
        )


def test_the_readme_is_short_and_its_links_lead_somewhere():
    lines = (ROOT / "README.md").read_text(encoding="utf-8").splitlines()
    assert len(lines) <= 150
    targets = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", "\n".join(lines))
    assert len(targets) > 20
    assert not [target for target in targets if not (ROOT / target).exists()]


def test_links_between_pages_of_the_repository_lead_somewhere():
    pages = [*(ROOT / "docs").rglob("*.md"), *(ROOT / "results").rglob("*.md")]
    pages += [ROOT / name for name in ("CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md")]
    found = 0
    for page in pages:
        text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
        for target in re.findall(r"\]\(([^)\s#:]+)(?:#[^)]*)?\)", text):
            found += 1
            assert (page.parent / target).exists(), (page, target)
    assert found > 50
