"""The few widgets everything is drawn with: lines of spans, the windowed list, and the permanent prompt row."""
