"""splice (Apache-2.0, as Hark): new sentences cut together out of what real people said."""
