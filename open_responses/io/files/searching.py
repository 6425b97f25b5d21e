"""Searches vector stores: the files that the filter lets through, then the engine."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from open_responses.errors import Conflict, Unavailable
from open_responses.io.files.engine import EngineFailed
from open_responses.io.files.storage import Embedding, Weights
from open_responses.io.files.store_files import StoreFiles
from open_responses.io.files.store_rows import StoreRow
from open_responses.io.files.vector_stores import VectorStores
from open_responses.json_types import JsonObject
from open_responses.schema.attribute_filters import AttributeFilter, matches
from open_responses.schema.vector_store_requests import RankingOptions
from open_responses.tool_use.file_search import FoundChunk

DEFAULT_RESULTS = 10
# Words find names and numbers that a vector blurs; meaning finds the rest.
_EMBEDDING_WEIGHT, _TEXT_WEIGHT = 0.7, 0.3


class StoreSearch:
    """Searches the stores of one folder."""

    def __init__(self, stores: VectorStores, files: StoreFiles) -> None:
        self._stores = stores
        self._files = files

    async def search(
        self,
        stores: Sequence[StoreRow],
        queries: Sequence[str],
        embedding: Embedding,
        *,
        filter: AttributeFilter | None,
        ranking: RankingOptions | None,
        most: int,
    ) -> list[FoundChunk]:
        """Search stores.

        Args:
            stores: The stores, all of one tenant.
            queries: The queries. A chunk has the best of its scores for all of them.
            embedding: The embedding model of the configuration.
            filter: Only files with these attributes; all if None.
            ranking: How scores are made, and the smallest score; the defaults if None.
            most: The most chunks.

        Returns:
            The best chunks, best first.

        Raises:
            Conflict: Another model made the vectors of a store.
            Unavailable: The embedding engine gives no answer.
        """
        for store in stores:
            if store.embedding != embedding.name:
                raise Conflict(
                    f"The vector store {store.id} was made with the embedding model {store.embedding!r}, and this "
                    f"server now has {embedding.name!r}. Create another store from its files.",
                    code="embedding_model_changed",
                )
        known = await asyncio.to_thread(self._searchable, stores, filter)
        words = ranking.hybrid_search if ranking is not None else None
        is_meaning_alone = ranking is not None and ranking.ranker == "none"
        try:
            hits = await self._stores.indexes.search(
                [(store.id, list(files)) for store, files in zip(stores, known, strict=True)],
                queries,
                embedding,
                weights=Weights(
                    words.embedding_weight if words is not None else _EMBEDDING_WEIGHT,
                    0 if is_meaning_alone else words.text_weight if words is not None else _TEXT_WEIGHT,
                ),
                most=most,
            )
        except EngineFailed as error:
            raise Unavailable(f"The search failed: {error}. Send your request again.", retry_after=2) from error
        least = (ranking.score_threshold if ranking is not None else None) or 0.0
        return [
            FoundChunk(hit.file_id, *_named(known[hit.index][hit.file_id], round(hit.score, 6)), text=hit.text)
            for hit in hits
            if hit.score >= least
        ]

    def _searchable(
        self, stores: Sequence[StoreRow], filter: AttributeFilter | None
    ) -> list[dict[str, tuple[str, JsonObject]]]:
        found = []
        for store in stores:
            self._stores.touch(store)
            files = self._files.searchable(store.id)
            found.append({file_id: file for file_id, file in files.items() if matches(filter, file[1])})
        return found


def _named(file: tuple[str, JsonObject], score: float) -> tuple[str, float, JsonObject]:
    name, attributes = file
    return name, score, attributes
