"""Addresses of four earlier systems and of OpenAI's audio API, over the same services as the pages."""
