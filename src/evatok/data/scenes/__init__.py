"""Views that move over pictures and videos, with things that move over them."""
