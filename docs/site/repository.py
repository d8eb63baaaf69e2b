"""What the site takes from outside of docs/: README and its like as pages, and every file that a page links to.

Pages are written for a forge, with links that are relative to the file they stand in. Here such a link is led to the page that holds
its target: `params.yaml` becomes a page that shows the file, `presets` one that shows all files of the folder.
"""

import json
import posixpath
import re
from pathlib import Path, PurePosixPath

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parent.parent.parent
# Pages of the site that lie elsewhere in the repository.
PAGES = {
    "README.md": "index.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
    "pretraining/README.md": "pretraining.md",
}
LINK = re.compile(r"\]\((?!https?://|#|mailto:)([^)\s#]+)(#[^)\s]*)?\)")
SOUND = re.compile(r'<a href="([^"]+\.mp3)">')
LEXERS = {".cff": "yaml", ".py": "python", ".yaml": "yaml", ".yml": "yaml"}


def target(link: str, page: str) -> str:
    """The path in the repository that a link of a page of the repository means."""
    return posixpath.normpath(posixpath.join(posixpath.dirname(page), link))


def place(path: str) -> str:
    """Where the site has a path of the repository, relative to docs/."""
    if path.startswith("docs/"):
        return path.removeprefix("docs/")
    return PAGES.get(path) or f"repository/{path}.md"


def origin(uri: str) -> str:
    """The path in the repository of a page of the site."""
    return {there: here for here, there in PAGES.items()}.get(uri, f"docs/{uri}")


def fenced(text: str, lexer: str) -> str:
    return f"````{lexer}\n{text.rstrip()}\n````"


def notebook(path: Path) -> str:
    """The cells of a notebook as Markdown."""
    cells = [
        (cell["cell_type"], "".join(cell["source"])) for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]
    ]
    return "\n\n".join(fenced(source, "python") if kind == "code" else source for kind, source in cells)


def shown(path: str) -> str:
    """A page that shows a file, a notebook by its cells, or all files of a folder."""
    found = ROOT / path
    files = [found] if found.is_file() else sorted(file for file in found.glob("*") if file.is_file())
    if not files:
        raise PluginError(f"{path}: a page links to it, and it is not in the repository")
    if found.suffix == ".ipynb":
        return notebook(found)
    blocks = ["---\nsearch: {boost: 0.1}\n---", f"# {path}"]  # found behind the pages that say what it is for
    for file in files:
        blocks += [] if file == found else [f"## {file.name}"]
        blocks.append(fenced(file.read_text(encoding="utf-8"), LEXERS.get(file.suffix, "text")))
    return "\n\n".join(blocks) + "\n"


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages from elsewhere, and those of the files that any page links to."""
    for path, uri in PAGES.items():
        files.append(File.generated(config, uri, content=(ROOT / path).read_text(encoding="utf-8")))
    linked = {
        target(link, origin(file.src_uri))
        for file in files.documentation_pages()
        for link, _ in LINK.findall(file.content_string)
    }
    for path in sorted(linked):
        if place(path).startswith("repository/"):
            files.append(File.generated(config, place(path), content=shown(path)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Lead each link to where the site has its target."""
    uri = page.file.src_uri
    if uri.startswith("repository/"):
        return markdown

    def led(link: re.Match[str]) -> str:
        there = place(target(link[1], origin(uri)))
        return f"]({posixpath.relpath(there, PurePosixPath(uri).parent)}{link[2] or ''})"

    return LINK.sub(led, markdown)


def on_page_content(html: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Put a player before each link to a sound."""
    return SOUND.sub(r'<audio controls preload="none" src="\1"></audio> \g<0>', html)
