"""What the site adds to the pages under docs/: pages from elsewhere in the repository, and links out of docs/.

On GitHub the pages are read where they lie, so they link to files beside and above docs/. In the site a link to a file
that is no page becomes a link to the repository.
"""

from __future__ import annotations

import os
import posixpath
import re
import textwrap
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files
from nbconvert import MarkdownExporter

ROOT = Path(__file__).resolve().parents[1]

#: Files outside docs/ that are pages of the site.
PAGES = {
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "rcc_integrations/model/default/README.md": "model-card.md",
}

_LINK = re.compile(r"(\]\(|\b(?:src|href)=\")([^)\s\"#]+)")


def on_files(files: Files, config: Any, **_: Any) -> Files:
    """Add the pages that are written or generated elsewhere."""
    for source, page in PAGES.items():
        content = (ROOT / source).read_text(encoding="utf-8")
        files.append(File.generated(config, page, content=content))
    files.append(File.generated(config, "rcc.md", content=command_page()))
    for notebook in sorted((ROOT / "docs" / "notebooks").glob("*.ipynb")):
        content, _ = MarkdownExporter().from_filename(str(notebook))
        files.append(File.generated(config, f"notebooks/{notebook.stem}.md", content=content))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Files, **_: Any) -> str:
    """Turn links into links that work in the site."""
    written = {page: source for source, page in PAGES.items()}
    source = written.get(page.file.src_uri, posixpath.join("docs", page.file.src_uri))
    folder, here = posixpath.dirname(source), posixpath.dirname(page.file.src_uri)

    def replaced(match: re.Match[str]) -> str:
        opening, target = match.groups()
        if "://" in target or target.startswith(("mailto:", "/")):
            return match.group()
        path = posixpath.normpath(posixpath.join(folder, target))
        if not (ROOT / path).exists():
            # mkdocs reports it; pages that are generated are no files of the repository.
            return match.group()
        name = PAGES.get(path) or path.removeprefix("docs/") if path in PAGES or path.startswith("docs/") else None
        if name is not None and files.get_file_from_path(name) is not None:
            return opening + posixpath.relpath(name, here or ".")
        kind = "tree" if (ROOT / path).is_dir() else "blob"
        return f"{opening}{config['repo_url']}/{kind}/main/{path}"

    return _LINK.sub(replaced, markdown)


def command_page() -> str:
    """Return the reference of the `rcc` command, as its own help tells it."""
    os.environ["TERMINAL_WIDTH"] = "200"
    import typer.main
    from typer.cli import get_docs_for_click

    from rcc_integrations.cli.app import app

    command = typer.main.get_command(app)
    text = get_docs_for_click(obj=command, ctx=typer.Context(command), name="rcc", title="The rcc command")
    # Examples in help texts are indented blocks behind the mark that keeps click from wrapping them.
    text = re.sub(r"^(Examples?:)\n((?:  .*\n)+)", _fenced, text.replace("\b\n", ""), flags=re.M)
    return re.sub(r"^(\* `[^`]*?) <\S+?>`", r"\1`", text, flags=re.M)


def _fenced(match: re.Match[str]) -> str:
    return f"{match[1]}\n\n```sh\n{textwrap.dedent(match[2])}```\n"
