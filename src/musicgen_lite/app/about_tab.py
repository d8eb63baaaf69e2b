"""About the model: what it is, what it was trained with, what it cannot do."""

from pathlib import Path
from typing import TYPE_CHECKING

from musicgen_lite.app.context import Context, gr
from musicgen_lite.app.models import NONE
from musicgen_lite.errors import UserError
from musicgen_lite.pretrained import shipped

if TYPE_CHECKING:
    from musicgen_lite.generator import Generator

LIMITS = """
### What it cannot do
- It makes instrumental music from short English prompts; it sings no words, and knows no artist or song by name.
- It was trained on what its card says: what lies far from that comes out as something near it.
- A small model keeps timbre, density and, where it is told one, a beat better than a key or a melody of its own.
- The codec is mono, and a small one smears what lies high.
"""


def build(context: Context, model: "gr.Dropdown", tab: "gr.Tab") -> None:
    """The tab shows the model that is chosen in the first tab."""
    text = gr.Markdown("")

    def about(name: str | None) -> str:
        try:
            return describe(name or "", context.shelf.place(name or ""), context.shelf.get(name or ""))
        except UserError as error:
            return str(error)

    if not context.shelf.names:
        text.value = NONE
    tab.select(about, model, text, queue=False, api_name="about")


def describe(name: str, place: str, generator: "Generator") -> str:
    """A model in Markdown: its card where one lies beside it, and its sizes."""
    config, millions = generator.model.config, sum(p.numel() for p in generator.model.parameters()) / 1e6
    facts = {
        "file or name": f"`{place}`", "type": config.type.upper(), "parameters": f"{millions:.1f} million",
        "layers and width": f"{config.layers} x {config.d_model}", "codebook pattern": config.pattern,
        "window": f"{config.max_frames / config.frame_rate:g} s; longer music is made by sliding it",
        "codec": f"{generator.codec.name}, {config.rate} Hz, {config.num_codebooks} codebooks of {config.codebook_size}",
        "text encoder": f"{generator.text.name}, up to {config.max_text} tokens",
        "style clip": f"{config.max_prompt_frames / config.frame_rate:g} s" if config.type == "b" else "takes none",
    }  # fmt: skip
    rows = "\n".join(f"| {label} | {value} |" for label, value in facts.items())
    file = shipped.model_file(shipped.NAMES[place]) if place in shipped.NAMES else Path(place)
    cards = [file.with_suffix(".md"), file.with_name("README.md")] if file.suffix == ".safetensors" else []
    own = next((card.read_text(encoding="utf-8") for card in cards if card.is_file()), "")
    return f"## {name}\n\n| | of this model |\n|---|---|\n{rows}\n\n{own}\n{LIMITS}\nMusicGen-Lite's code is under the MIT licence."
