"""Programs that make what ships under model/shipped. Maintainers run them; nothing imports them."""
