import "./style.css";
import { mount } from "./app";
import { Http } from "./wire";

const root = document.getElementById("app");
if (root) void mount(root, new Http());
