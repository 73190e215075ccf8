"""Tasks that live in Python; client.ts beside it calls them. Start their worker in this folder:

    CELERY_BROKER_URL=redis://localhost:6379/0 CELERY_RESULT_BACKEND=redis://localhost:6379/0 \
        celery -A tasks worker -Q scores
"""
from celery import Celery

app = Celery("scores")  # broker and results from the environment


@app.task(name="scores.rate", acks_late=True)
def rate(text, model="small"):
    if not text:
        raise ValueError("nothing to rate")
    return {"value": len(text), "model": model}
