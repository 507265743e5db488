"""A provider that is not ours: what a plug-in package looks like. Its metadata has one line,

    [mountfs.providers]
    sample = mountfs_sample:Sample

and a configuration says ``type = "sample"``. The service it speaks to is Dari's fake, with a route of its own choice.
"""

from __future__ import annotations

from pydantic import Field

from mountfs.errors import ListingUnsupported
from mountfs.model import Phase, SessionInfo
from mountfs.providers import Location, Options, Provider, ZipSource
from mountfs.transport import Question, Target


class SampleOptions(Options):
    """The keys of ``type = "sample"``."""

    route: str = Field(default="workspace.zip", description="the last part of an archive's path")


class Sample(Provider):
    """One archive a session, no list."""

    type = "sample"
    base_url = "https://sample.example"
    error_fields = ("detail",)
    lists = False
    Options = SampleOptions
    options: SampleOptions

    async def sessions(self, *, deadline: float) -> tuple[SessionInfo, ...]:
        raise ListingUnsupported(f"{self.name}: this service has no list")

    async def session(self, session_id: str, *, deadline: float) -> SessionInfo:
        what = f"session {session_id}"
        answer = await self.transport.ask(Question(f"/v1/sessions/{session_id}", what), deadline=deadline)
        self.expect(answer, what)
        return SessionInfo(session_id, Phase.TERMINAL)

    def zip_source(self, session_id: str) -> ZipSource:
        url = f"{self.transport.base_url}/v1/sessions/{session_id}/{self.options.route}"

        async def locate(_deadline: float) -> Location:
            self.need_key()
            return Location(Target(url, f"session {session_id}", authorised=True))

        return self.archive_at(session_id, locate)
