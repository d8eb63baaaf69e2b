"""The page's HTML: Gradio's, without what it tells other sites about a link to it, which names Gradio and a picture of its own."""

import re
from collections.abc import Callable

from jinja2 import BaseLoader, Environment

from musicgen_lite.errors import require

require("gradio", extra="app", purpose="the web page")

from gradio import routes  # noqa: E402

PREVIEW = re.compile(r'<meta\s+(?:name|property)="(?:og|twitter):[^>]*>')


class Plain(BaseLoader):
    """A loader of templates that leaves the tags for previews out."""

    def __init__(self, loader: BaseLoader) -> None:
        self._loader = loader

    def get_source(self, environment: Environment, template: str) -> tuple[str, str | None, Callable[[], bool] | None]:
        source, path, current = self._loader.get_source(environment, template)
        return PREVIEW.sub("", source), path, current


def install() -> None:
    """Have Gradio show its page so."""
    routes.templates.env.loader = Plain(routes.templates.env.loader)
