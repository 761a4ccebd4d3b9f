"""The page on which people judge answers, and the end point to which a chat product sends what its users say."""
