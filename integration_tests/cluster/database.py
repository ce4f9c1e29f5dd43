"""The database between two clusters on the same server."""

from sqlalchemy import text

from billow.services.receipt.database import open_engine


async def empty_database(url: str) -> None:
    """Remove all tables."""
    engine = open_engine(url, wait=30)
    async with engine.begin() as connection:
        await connection.execute(text("DROP SCHEMA public CASCADE"))
        await connection.execute(text("CREATE SCHEMA public"))
    await engine.dispose()
