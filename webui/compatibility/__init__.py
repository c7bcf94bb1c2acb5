"""Endpoints of four earlier systems and of OpenAI's audio API. They use the same services as the pages."""
