"""A layout model without weights: lexicon, patterns, geometry and arithmetic."""

from .model import RulesModel

__all__ = ["RulesModel"]
