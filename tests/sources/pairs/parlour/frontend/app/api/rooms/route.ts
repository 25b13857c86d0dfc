import { prisma } from "../../../lib/db";

export const dynamic = "force-dynamic";

export async function GET() {
  return Response.json(await prisma.room.findMany({ orderBy: { name: "asc" } }));
}

export async function POST(request: Request) {
  const { name, topic } = await request.json();
  return Response.json(await prisma.room.create({ data: { name, topic } }), { status: 201 });
}
