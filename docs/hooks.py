"""What MkDocs does beside reading Markdown: equations, generated parts, pages of the repository.

- ``$...$`` and ``$$...$$`` become MathML, which browsers show without a script.
- A line ``<!-- settings: ICDDT -->``, ``<!-- help -->``, ``<!-- data sets -->`` or
  ``<!-- models -->`` is replaced by what the package says, so that pages cannot drift from it; the
  rest of the line is for those who read the page without the site.
- results/, CHANGELOG.md, SECURITY.md and the notebooks are pages, too. Links to other files of the
  repository become plain text.
"""

import contextlib
import io
import posixpath
import re
from pathlib import Path

import yaml
from latex2mathml.converter import convert
from mkdocs.structure.files import File
from nbconvert import MarkdownExporter

ROOT = Path(__file__).parents[1]
PAGES = ("CHANGELOG.md", "SECURITY.md", "CITATION.cff")
_WORKER, _FOREIGN_WORKER = "assets/iframe-worker.js", "https://unpkg.com/iframe-worker/shim"
_FENCE = re.compile(r"(^```.*?^```|`[^`\n]+`)", re.MULTILINE | re.DOTALL)
_BLOCK = re.compile(r"\$\$(.+?)\$\$", re.DOTALL)
_INLINE = re.compile(r"(?<![\w$\\])\$([^\s$](?:[^$\n]*[^\s$])?)\$(?![\w$])")
_PART = re.compile(r"^<!-- (settings|help|data sets|models)(?:: ([\w@.-]+))? -->.*$", re.MULTILINE)
_LINK = re.compile(r"(!?)\[([^\]]*)\]\(([^)\s#:]+)(#[^)\s]*)?\)")


def on_files(files, config):
    """Adds the pages that stand outside docs/."""
    results = (ROOT / "results").rglob("*")
    shown = [path for path in results if path.suffix in (".md", ".png", ".html", ".yaml")]
    for path in [*shown, *(ROOT / name for name in PAGES)]:
        name = path.relative_to(ROOT).as_posix()
        files.append(File(name, str(ROOT), config["site_dir"], use_directory_urls=False))
    for path in sorted((ROOT / "docs" / "notebooks").glob("*.ipynb")):
        for name, content in _notebook(path).items():
            files.append(File.generated(config, f"notebooks/{name}", content=content))
    return files


def _notebook(path):
    """A notebook as a page: name to content of the page and its pictures."""
    made = {"output_files_dir": path.stem, "unique_key": path.stem}
    text, resources = MarkdownExporter().from_filename(str(path), resources=made)
    text = text.replace('<table border="1" class="dataframe">', "<table>")  # as other tables
    link = f"[The notebook itself]({path.name}), to be run in Jupyter.\n"
    return {f"{path.stem}.md": f"{text}\n\n{link}"} | resources["outputs"]


def on_page_markdown(markdown, page, config, files):
    """Fills in the generated parts, equations and links of a page."""
    markdown = _PART.sub(lambda found: PARTS[found[1]](found[2]), markdown)
    folder = posixpath.dirname(page.file.src_uri)
    known = {file.src_uri for file in files}
    texts = _FENCE.split(markdown)
    for place in range(0, len(texts), 2):  # what stands outside code
        text = _BLOCK.sub(lambda found: _math(found[1], "block"), texts[place])
        texts[place] = _INLINE.sub(lambda found: _math(found[1], "inline"), text)
    return _LINK.sub(lambda found: _link(found, folder, known), "".join(texts))


def _math(latex, display):
    written = convert(" ".join(latex.split()), display=display)
    return f"<span>{written}</span>" if display == "inline" else f"<div>{written}</div>"


def on_post_build(config):
    """The search of pages on a disk needs a worker, which the theme would load from a network."""
    site = Path(config["site_dir"])
    for file in site.rglob("*.html"):
        path = posixpath.relpath(_WORKER, file.parent.relative_to(site).as_posix())
        text = file.read_text(encoding="utf-8").replace(_FOREIGN_WORKER, path)
        file.write_text(text, encoding="utf-8")


def _link(found, folder, known):
    """A link as the site needs it: docs/ is its root, and results/ lie beside its pages."""
    image, words, target, anchor = found[1], found[2], found[3], found[4] or ""
    here = posixpath.join("docs", folder) if not folder.startswith("results") else folder
    if posixpath.join(folder, "") in ("", "/") and target in known:
        here = "docs"
    place = posixpath.normpath(posixpath.join(here, target))
    inside = place.removeprefix("docs/")
    page = inside.removesuffix(".ipynb") + ".md"
    if page in known and not folder.startswith("notebooks"):
        inside = page
    if inside not in known:
        return words if not image else found[0]
    return f"{image}[{words}]({posixpath.relpath(inside, folder or '.')}{anchor})"


# ---------------------------------------------------------------- generated parts
def _table(head, rows):
    def cell(value):
        return str(value).replace("|", "\\|").replace("\n", " ")

    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return "\n".join([*lines, *("| " + " | ".join(map(cell, row)) + " |" for row in rows)])


def _value(value):
    written = yaml.safe_dump(value, default_flow_style=True, width=10**6, sort_keys=False)
    return "`~`" if value is None else f"`{written.removesuffix('...' + chr(10)).strip()}`"


def _settings(model):
    """Settings of a model's own files; without a model, those of every model."""
    from recbole_diffusion.config.listing import settings_of

    wanted = "properties/overall.yaml" if model is None else "properties/model/"
    rows = [
        (f"`{setting.key}`", _value(setting.value), setting.kind or "", setting.sentence or "")
        for setting in settings_of(model or "SASRec")
        if setting.source.startswith(wanted)
    ]
    parts = [_table(("setting", "default", "values", "meaning"), rows)]
    for file in sorted((ROOT / "properties" / "model").glob(f"{model}@*.yaml")) if model else ():
        published = yaml.safe_load(file.read_text(encoding="utf-8"))
        parts.append(
            f"On `{file.stem.partition('@')[2]}` the settings of the published run are taken "
            "(`--settings=default` leaves them out): "
            + ", ".join(f"`{key}` {_value(value)}" for key, value in published.items())
            + "."
        )
    return "\n\n".join(parts)


def _help(_):
    """What --help of every command prints."""
    from recbole_diffusion.cli.main import COMMANDS, main, usage

    parts = ["```text", usage(), "```"]
    for name in COMMANDS:
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed), contextlib.suppress(SystemExit):
            main([name, "--help"])
        parts += [f"## {name}", "", "```text", printed.getvalue().strip(), "```", ""]
    return "\n".join(parts)


def _data_sets(_):
    from recbole_diffusion.cli.data import known

    rows = []
    for name, about in known().items():
        counts = [f"{about[of]:,}" if of in about else "" for of in ("users", "items")]
        page = about["page"]
        page = f"[its owners]({page})" if page.startswith("http") else page
        rows.append(
            (f"`{name}`", about["about"], *counts,
             f"{about['interactions']:,}" if "interactions" in about else "",
             about["good_for"], about["licence"], page, "yes" if "fetch" in about else "by hand",
             "known" if "sha256" in about else "not known")
        )  # fmt: skip
    head = ("name", "what", "users", "items", "interactions", "good for", "licence", "from",
            "fetched", "SHA-256")  # fmt: skip
    return _table(head, rows)


def _models(_):
    from recbole_diffusion.config.listing import host_models, models

    def page(name):
        base = name.lower().removeprefix("lt").removeprefix("t").removeprefix("l")
        stem = base if name.endswith("DiffRec") else name.lower()
        return f"[{name}](models/{stem}.md)"

    rows = [(page(m.name), m.kind, m.about, m.needs) for m in models()]
    host = [f"RecBole's {kind}: {', '.join(names)}." for kind, names in host_models().items()]
    return "\n\n".join([_table(("model", "kind", "what it does", "what it reads"), rows), *host])


PARTS = {"settings": _settings, "help": _help, "data sets": _data_sets, "models": _models}
