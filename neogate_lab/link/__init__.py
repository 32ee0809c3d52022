"""The network side: asyncio, TCP sessions and the loop thread; never SQL, frames or widgets."""
