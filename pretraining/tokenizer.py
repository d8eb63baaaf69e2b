"""A tokenizer learned from captions: byte-level pairs (Radford et al. 2019), so that any text can be spelled."""

from collections.abc import Iterable
from typing import Any

PAD, EOS, UNK, BOS = "<pad>", "</s>", "<unk>", "<s>"
SPECIAL = (PAD, EOS, UNK, BOS)  # their ids are their places: T5's first three


def train(captions: Iterable[str], size: int, begin: bool) -> Any:
    """A fast tokenizer of at most `size` pieces, all bytes among them; case, width and runs of spaces are folded.

    begin: whether texts start with `<s>`, as models that pool their first token need. All of them end with `</s>`.
    """
    from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    pieces = Tokenizer(models.BPE())
    pieces.normalizer = normalizers.Sequence(
        [normalizers.NFKC(), normalizers.Lowercase(), normalizers.Replace(Regex(r"\s+"), " "), normalizers.Strip()]
    )
    # Numbers are spelled digit by digit, so that every tempo has a spelling that was learned.
    pieces.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.ByteLevel(add_prefix_space=True), pre_tokenizers.Digits(individual_digits=True)]
    )
    pieces.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        special_tokens=list(SPECIAL),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    pieces.train_from_iterator(captions, trainer)
    pieces.post_processor = processors.TemplateProcessing(
        single=f"{BOS} $A {EOS}" if begin else f"$A {EOS}",
        special_tokens=[(token, SPECIAL.index(token)) for token in (BOS, EOS)],
    )
    named: dict[str, Any] = {"pad_token": PAD, "eos_token": EOS, "unk_token": UNK}
    if begin:
        named |= {"bos_token": BOS, "cls_token": BOS}
    return PreTrainedTokenizerFast(tokenizer_object=pieces, model_max_length=512, **named)
