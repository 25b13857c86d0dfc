import { greeting } from "@harbour/greeting";

export default function Page() {
  return <h1>{greeting(process.env.NEXT_PUBLIC_PORT_OF_CALL)}</h1>;
}
