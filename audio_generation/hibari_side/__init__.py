"""hibari (Apache-2.0): a quick neural voice; changed in pitch, vocal tract and breath it is many people's."""
