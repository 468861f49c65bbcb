"""Asks the models of the stack with the published `openai` SDK.

    OPENAI_BASE_URL=$(lockgate stack output url) OPENAI_API_KEY=… python ask.py
"""

import openai

client = openai.OpenAI()

print("models", ",".join(model.id for model in client.models.list()))

messages = [{"role": "user", "content": "Say a few words."}]
answer = client.chat.completions.create(model="fast", messages=messages)
print("answer", answer.usage.completion_tokens, answer.choices[0].message.content.strip())

words = 0
for chunk in client.chat.completions.create(model="fast", messages=messages, stream=True):
    assert chunk.usage is None, "the client did not ask for the usage"
    words += bool(chunk.choices[0].delta.content)
print("stream", words)

asked = client.chat.completions.create(
    model="fast", messages=messages, stream=True, stream_options={"include_usage": True}
)
print("stream with usage", [chunk.usage for chunk in asked][-1].completion_tokens)

vector = client.embeddings.create(model="embed", input="some words", encoding_format="float")
print("embedding", vector.data[0].embedding)

try:
    client.chat.completions.create(model="unknown", messages=messages)
except openai.NotFoundError as error:
    print("unknown model", error.code)

try:
    openai.OpenAI(api_key="lgk_wrong").models.list()
except openai.AuthenticationError as error:
    print("wrong key", error.code)
