"""Word-level tokenizers for small models, made from the questions a task asks."""

from collections.abc import Iterable

from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

from tapioca.tasks.text import Encoder

UNK, PAD, BOS, EOS = SPECIAL = ("<unk>", "<pad>", "<s>", "</s>")
UNK_ID, PAD_ID, BOS_ID, EOS_ID = range(len(SPECIAL))

_SPLIT = pre_tokenizers.Whitespace()  # runs of letters, digits and _; runs of other signs; no spaces


def make_word_tokenizer(words: Iterable[str], context: int) -> PreTrainedTokenizerFast:
    """A tokenizer that knows some words, reads all others as <unk>, and begins every text with BOS.

    Args:
        words: in the order of their ids, which begin after the special tokens.
        context: most tokens its model reads.
    """
    id_by_word = {word: index for index, word in enumerate([*SPECIAL, *words])}
    core = Tokenizer(models.WordLevel(id_by_word, unk_token=UNK))
    core.pre_tokenizer = _SPLIT
    core.post_processor = processors.TemplateProcessing(single=f"{BOS} $A", special_tokens=[(BOS, BOS_ID)])
    return PreTrainedTokenizerFast(
        tokenizer_object=core, unk_token=UNK, pad_token=PAD, bos_token=BOS, eos_token=EOS, model_max_length=context
    )


class OpenVocabulary(Encoder):
    """Encodes as the tokenizers above do, but knows every word: a new one gets the next id.

    Attributes:
        ids: the words met so far and their ids.
    """

    def __init__(self, max_length: int):
        super().__init__(make_word_tokenizer([], max_length), max_length)
        self.ids = {word: index for index, word in enumerate(SPECIAL)}

    def encode_text(self, text: str) -> list[int]:
        return [self.prefix, *self.encode_plain(text)]

    def encode_plain(self, text: str) -> list[int]:
        return [self.ids.setdefault(word, len(self.ids)) for word, _ in _SPLIT.pre_tokenize_str(text)]
