"""Endpoints of four earlier systems and of OpenAI's audio API, which use the same services as the pages."""
