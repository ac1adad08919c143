"""The colours of figures."""

# Okabe and Ito's, told apart by all kinds of colour vision.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")


def recoloured(svg: str) -> str:
    """Return a drawing in the tones of the palette that the reader has chosen."""
    for number, colour in enumerate(COLOURS, 1):
        svg = svg.replace(colour, f"var(--figure-{number})")
    return svg.replace("#000000", "currentColor")
