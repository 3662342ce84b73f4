"""The chapter as statements that can be run: which, with what settings, and what is to be read off."""
