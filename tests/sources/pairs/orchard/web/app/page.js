import { season } from "../generated/season";

export default function Page() {
  return <p>Orchard, {season}</p>;
}
