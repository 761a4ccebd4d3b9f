"""What a mixture is made of, for people: `facts` measures, `samples` and `overlaps` choose texts, `page` shows all."""
