import { db } from "@/db";
import { user } from "@/db/schema";

export const dynamic = "force-dynamic";

export default async function Page() {
  const users = await db.$count(user);
  return (
    <main>
      <h1>Gallery</h1>
      <p>{users ? "Somebody has signed in" : "Nobody has signed in"}</p>
      <form action="/photos" method="post" encType="multipart/form-data">
        <input type="file" name="file" />
        <button>Upload</button>
      </form>
    </main>
  );
}
