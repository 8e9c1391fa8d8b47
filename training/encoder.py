"""The forward pass of a BERT classifier, arranged for short posts on a CPU.

The same arithmetic as transformers' `BertForSequenceClassification` (a test holds it to that), on
the same parameters; but the classifier reads [CLS] alone, so the last layer computes queries,
attention and feed-forward for the first positions alone: 5/6 of the layer saved, nothing lost.
"""

import torch
from torch.nn import functional as F


def logits(model, input_ids, attention_mask, dropout=0.0):
    """Scores `[batch, sequence]` ids (mask 1 = token): `[batch, outputs]` logits."""
    read = _hidden(model.bert, input_ids, attention_mask, dropout, 2)[:, 0]
    pooled = torch.tanh(model.bert.pooler.dense(read))
    return model.classifier(F.dropout(pooled, dropout, dropout > 0))


def _hidden(bert, input_ids, attention_mask, dropout, wanted):
    """The last layer's vectors of the first `wanted` positions, `[batch, wanted, width]`."""
    embed, layers = bert.embeddings, bert.encoder.layer
    positions = torch.arange(input_ids.shape[1], device=input_ids.device)
    hidden = (
        embed.word_embeddings(input_ids)
        + embed.position_embeddings(positions)
        + embed.token_type_embeddings.weight[0]
    )
    hidden = F.dropout(embed.LayerNorm(hidden), dropout, dropout > 0)
    bias = (1.0 - attention_mask[:, None, None, :].float()) * -1e4
    heads = bert.config.num_attention_heads
    for layer in layers:
        # Two positions, not one: engines multiply a single row by other code, whose sums round
        # otherwise according to the width of the batch, and int8 makes a slip of that a step.
        query = hidden[:, :wanted] if layer is layers[-1] else hidden
        hidden = _layer(layer, query, hidden, bias, heads, dropout)
    return hidden


def _layer(layer, query, hidden, bias, heads, dropout):
    attention, width = layer.attention.self, layer.attention.self.attention_head_size

    def split(x):
        return x.unflatten(-1, (heads, width)).transpose(1, 2)

    q = split(attention.query(query)) * width**-0.5
    k, v = split(attention.key(hidden)), split(attention.value(hidden))
    weights = torch.softmax(q @ k.transpose(-1, -2) + bias, -1).to(v.dtype)
    context = (weights @ v).transpose(1, 2).flatten(-2)
    out = layer.attention.output
    query = out.LayerNorm(F.dropout(out.dense(context), dropout, dropout > 0) + query)
    inner = layer.intermediate.intermediate_act_fn(layer.intermediate.dense(query))
    return layer.output.LayerNorm(
        F.dropout(layer.output.dense(inner), dropout, dropout > 0) + query
    )
