"""Is this mail wanted? Facts in, findings out, the strictest verdict wins; every verdict has its reasons."""
