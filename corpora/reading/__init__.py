"""From bytes in a file to the values of its rows; bad ones are kept apart. What a row means, `formats` say."""
