"""What turns text into a corpus: reading, the text doctor, numbering, vocabularies, splits."""
