const { DATABASE_URL, BETTER_AUTH_SECRET } = process.env;
if (!DATABASE_URL || !BETTER_AUTH_SECRET) throw new Error("DATABASE_URL and BETTER_AUTH_SECRET must be set");

export const dynamic = "force-dynamic";
export const GET = () => Response.json({ scheme: new URL(process.env.DATABASE_URL).protocol });
