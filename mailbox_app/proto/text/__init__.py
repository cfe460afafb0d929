"""The text of a message as people read it, and as SEARCH and PREVIEW see it.

`message` walks a message's parts and gives their text piece by piece; `transfer` undoes base64 and quoted-printable,
`charsets` decodes, `html_text` takes the markup away, `folding` is the one notion of equal letters. The search index and the
check of its candidates both read a message through here, so they always mean the same text.

Nothing here fails on any bytes, and the memory is a piece and its decoded form, whatever the size of the message.
"""
