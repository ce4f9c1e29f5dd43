"""What the layout service does to a document, pure: lines become words, labelled words become entities."""

from billow.services.layout.assembly import MULTI_LINE, Assembly, assemble
from billow.services.layout.splitting import split_words

__all__ = ["MULTI_LINE", "Assembly", "assemble", "split_words"]
