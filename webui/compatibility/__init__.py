"""Addresses of four earlier systems and of OpenAI's audio API, served by the same services as the pages."""
