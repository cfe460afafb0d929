"""POP3 without input or output: lines off the wire, commands out of lines, messages as RETR and TOP send them."""
