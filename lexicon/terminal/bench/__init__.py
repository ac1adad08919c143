"""The measurements behind ``lexicon bench``."""
