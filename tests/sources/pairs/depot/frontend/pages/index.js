import { text } from "ui";

export default function Page() {
  return <p>Depot, {text}</p>;
}
