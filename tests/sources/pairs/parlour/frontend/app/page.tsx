import { prisma } from "../lib/db";
import { Talk } from "./talk";

export const dynamic = "force-dynamic";

export default async function Page() {
  const rooms = await prisma.room.findMany({ orderBy: { name: "asc" } });
  return (
    <main>
      <h1>Parlour</h1>
      <ul>{rooms.map((room) => <li key={room.id}>{room.name}: <Talk room={room.name} /></li>)}</ul>
    </main>
  );
}
