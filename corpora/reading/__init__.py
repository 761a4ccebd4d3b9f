"""From a file to rows in one schema: `lines` finds the rows, `formats` says what they mean, bad ones are kept apart."""
